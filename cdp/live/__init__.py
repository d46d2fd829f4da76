"""What channels send is seen at once: the pipeline's own contracts and selects over the newest rows, written ahead of the next run."""
