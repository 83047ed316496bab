"""One file per stage: what it reads, what it computes, what it stores. Stages are plain functions."""
