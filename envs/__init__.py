"""The worlds in which agents act. An environment never sees the model."""
