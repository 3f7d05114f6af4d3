"""What ``make bench`` runs: the whole pipeline on simulated worlds, measured from outside."""
