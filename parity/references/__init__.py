"""What PyTorch's side of a comparison needs, for the tables of cases and for PyTorch's own test inputs alike."""
