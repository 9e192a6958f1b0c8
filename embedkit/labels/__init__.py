"""Labels: the file of what people say of clips, and the rule that joins it to vectors."""
