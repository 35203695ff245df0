run tidy
run tidy all
run tidy 5
