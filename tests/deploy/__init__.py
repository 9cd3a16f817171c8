"""What stands in `deploy/`: checked with the programs that will read it, and run as processes where it can be."""
