"""Share students, teachers and datasets on the Hugging Face Hub."""
