"""Built-in reward functions with TRL's signature; a file's name is the reward's name."""
