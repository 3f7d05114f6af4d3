"""What is launched: options, configuration, graph, run. Composition only; the logic lives in the stages."""
