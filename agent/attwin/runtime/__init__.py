"""The loop and the stages: orchestration through ports, no concrete technology."""
