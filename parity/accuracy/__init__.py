"""How far every quantity of every component is from float64, ours and PyTorch's, in each precision."""
