"""Models that several processes hold or train together: whose numbers make up one record, and what all agree on."""
