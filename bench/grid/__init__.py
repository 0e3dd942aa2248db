"""Many runs: who is next, where it runs, how it ended."""
