"""GitHub's runner: the event, the commands in the log, the files that it reads after the step."""
