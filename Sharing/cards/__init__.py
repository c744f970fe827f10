"""The cards of repositories: metadata in the form of the Hub, and a text for people."""
