"""L8: the typed study, the stage graph, the local runner, the demo."""
