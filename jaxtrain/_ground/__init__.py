"""What every room stands on: checks, precision, axes, paths and labels of parameters."""
