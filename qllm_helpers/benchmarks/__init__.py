"""Speed beside MerLin, Perceval and PennyLane, measured in one run."""
