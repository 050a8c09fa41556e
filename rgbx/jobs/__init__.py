"""Many runs: ablations and sweeps as jobs, each in a process of its own."""
