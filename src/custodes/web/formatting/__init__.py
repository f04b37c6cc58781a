"""People's texts as HTML and as differences, made outside the server's process."""
