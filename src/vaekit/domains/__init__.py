"""One room per kind of data: files <-> tensors, and what is particular to the kind."""
