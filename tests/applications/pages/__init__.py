"""One page of a web shop, written for many stacks: how much of it comes from memory on repeat."""
