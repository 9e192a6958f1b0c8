"""Labels: files of what people say about clips, and the rule that joins them to vectors."""
