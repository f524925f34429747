"""Whether a run is healthy: what its log and its weights say, against what is expected of them."""
