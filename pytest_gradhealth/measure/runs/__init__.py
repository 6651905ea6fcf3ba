"""Running a model: batches, devices, optimiser steps, and putting everything back as it was."""
