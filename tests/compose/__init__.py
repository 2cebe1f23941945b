"""docker-compose.yml and the images, checked without a Docker engine."""
