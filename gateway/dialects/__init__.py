"""Input schemas as the APIs of models take them: what each refuses, how it is said instead, and the way back. Pure."""
