"""The workstation side: train, quantise, prove, bundle."""
