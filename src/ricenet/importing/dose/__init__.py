"""From RTDOSE, RTPLAN, RTSTRUCT and CT to the dose of the course, in the reference MRI's space."""
