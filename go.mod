module kmipd

go 1.26
