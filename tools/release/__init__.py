"""What makes, measures and checks the artefacts of a release; run by ``make``."""
