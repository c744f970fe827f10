"""Push to the Hugging Face Hub: `python -m Sharing.push`."""
