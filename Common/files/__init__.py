"""Read and write files: durable writes, bounded reads, one writer per folder."""
