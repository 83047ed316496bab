"""What `sdar doctor` looks at: plain functions that say what they found and how to mend it."""
