"""Programs that run once for all workers: a process of their own runs them, and workers speak to them through it."""
