"""What every room uses: checks, precision, axes, and the paths and labels of parameters."""
