"""Other clients' configurations, read and taken over, and the text of our own file changed in place."""
