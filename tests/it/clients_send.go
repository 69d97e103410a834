// A connection to Redis for the Go code of docs/clients.md, which is compiled beside this file.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
)

func main() {
	run(func(words ...any) (any, error) { return ask(os.Args[1], words) })
}

// ask makes a connection for each command: the one before may be lost.
func ask(address string, words []any) (any, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	text := fmt.Sprintf("*%d\r\n", len(words))
	for _, word := range words {
		word := fmt.Sprint(word)
		text += fmt.Sprintf("$%d\r\n%s\r\n", len(word), word)
	}
	if _, err := io.WriteString(conn, text); err != nil {
		return nil, err
	}
	return read(bufio.NewReader(conn))
}

func read(in *bufio.Reader) (any, error) {
	line, err := in.ReadString('\n')
	if err != nil {
		return nil, err
	}
	kind, text := line[0], line[1:len(line)-2]
	switch kind {
	case '-':
		return nil, errors.New(text)
	case ':':
		return strconv.Atoi(text)
	case '*':
		size, err := strconv.Atoi(text)
		replies := make([]any, size)
		for i := 0; i < size && err == nil; i++ {
			replies[i], err = read(in)
		}
		return replies, err
	}
	panic("no reply is expected that begins with " + line)
}
