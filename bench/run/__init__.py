"""One run: model, batches, loss, loop, evaluation, checkpoint; `execute` is where they meet."""
