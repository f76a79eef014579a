<?php
# The wiki of wizzypedia.
if ( !defined( 'MEDIAWIKI' ) ) {
	exit;
}
$wgSitename = 'Wizzypedia';
$wgServer = 'https://wizzypedia.example';
$url = parse_url( getenv( 'JAWSDB_MARIA_URL' ) );
$wgDBtype = 'mysql';
$wgDBserver = $url['host'];
$wgDBname = ltrim( $url['path'], '/' );
$wgDBuser = $url['user'];
$wgDBpassword = $url['pass'];
