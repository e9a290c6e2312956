"""Runs on clusters that are really there: an sshd and a SLURM of our own on this machine. `make clusters`."""
