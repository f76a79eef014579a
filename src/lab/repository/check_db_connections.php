<?php
# How many connections are in use now. Takes one itself.
require __DIR__ . '/connection_helpers.php';
[ $used, $limit ] = connection_usage( connect_from_environment() );
printf( "%d of %d connections in use (%d%%)\n", $used, $limit, 100 * $used / $limit );
