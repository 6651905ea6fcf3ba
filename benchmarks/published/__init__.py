"""Programs like those of published collections of bugs in training, retold: as they were reported, and as repaired."""
