config reload
json summary
json run --wait tidy
