"""Pull from the Hugging Face Hub: `python -m Sharing.pull`."""
