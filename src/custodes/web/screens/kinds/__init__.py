"""How each kind of question looks on a work screen, one file each, named as its kind."""
