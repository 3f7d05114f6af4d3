"""The stage model: target, training, gates, registry, bundles and the scoring handler."""
