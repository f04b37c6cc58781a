"""How each way of judging teaches a reward, one objective a file."""
