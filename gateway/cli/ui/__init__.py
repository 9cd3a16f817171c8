"""How the verbs talk with whoever runs them: colours, tables, progress, what is typed in."""
