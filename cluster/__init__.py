"""Where jobs run: a local cluster of real nodes, and how a run is sent to any cluster."""
