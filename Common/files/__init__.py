"""Reading and writing files: durable, bounded, one writer per folder."""
