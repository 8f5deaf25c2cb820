"""Long tests: random faults, mutated requests and answers, load; CONTRIBUTING.md has the rest."""
